"""The spectral compiler: torch.fft and complex tensors become real arithmetic. Nothing here knows HAMSA.

Three floors, each of which imports only what is below it:

    compiler/    rewrite, the way in; importing it loads the rules
    rules/       what each operator does to complex values, one family per file
    *.py         the values, how an operator finds its rule (dispatch.py), and how transforms are computed
"""
