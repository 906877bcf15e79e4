"""Pictures drawn by the server: SVG that needs no script and stretches to any width.

Positions are percentages of the width and heights are pixels, so that marks keep their shape on a
phone as on a wall. Colours come from classes of the stylesheet, and no colour stands alone: each
outcome has a shape of its own, each picture a title and words beside it.
"""
