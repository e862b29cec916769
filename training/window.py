"""The CT window that shows DICOM slices in the greys of the training pictures."""

from serving.card import Window

WINDOW = Window(center=-24.0, width=2048.0)
