"""float16 by measured ranges: explicit types, with islands that stay in float32."""
