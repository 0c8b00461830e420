"""How fast bundles are beside each other and beside their peers: latency, throughput, loading, memory, size, energy.

candidates -> benchmark (rounds in turn) -> percentiles (ratios, what noise allows to say) -> report
"""
