"""Arm Ethos-U: the `.tflite` file compiled by Arm's open compiler Vela, and its estimate for every layer."""
