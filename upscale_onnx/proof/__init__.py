"""The local proof: two models are equal because every region between values that both of them hold is.

Nothing here knows how a compile works. It is told, value by value, what the compile claims, and shows each claim
anew in onnxruntime.
"""
