"""64-bit Arm: the plain C library of the cpu backend, linked across, and run in an emulator where the chip is not.

model.so, model.h    for programs on the device
model_run            the model as a static program: copy it to any 64-bit Arm Linux or Android and run it
"""
