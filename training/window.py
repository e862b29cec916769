"""The CT window that shows DICOM slices in the greys of the training pictures.

In the public data's cancers soft tissue has greys from 112 to 125 and lung about 20. The window
puts soft tissue of 50 HU at 121 and lung of -850 HU at 20; the lung window of the textbooks
(-600 / 1500) would put soft tissue at 238.
"""

from serving.card import Window

WINDOW = Window(center=108.0, width=2264.0)
