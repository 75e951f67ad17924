"""The local proof: two models are equal if every region between values that both of them hold is equal.

Nothing here knows how a compile works. The proof is given the claims of the compile, value by value, and checks each
claim in onnxruntime.
"""
