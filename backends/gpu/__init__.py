"""What all GPU backends share: kernels as thread-bound TIR, and networks lowered to launches of them."""
