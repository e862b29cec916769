"""The CT window that shows DICOM slices in the greys of the training pictures.

The cancers came as pictures without Hounsfield units, so their tissues tell the window. In 501 of
524 pictures the histogram has two peaks between dark and bright, fat and soft tissue; soft tissue
is 1.156 times as bright as fat, whatever the brightness. Fat is at -100 HU and soft tissue at 50,
so black is at about -1020, and lung (grey 20, -850 HU) says -1028: the least value of a scanner,
-1024. Black at -1024 and the medians of the larger group of pictures, fat at grey 104 and soft
tissue at 121, give a width of 2264. (White seems to have been each slice's brightest pixel: a
seventh of the pictures is about half as bright, as if white were 3071.)
"""

from serving.card import Window

WINDOW = Window(center=108.0, width=2264.0)
