"""JSON text to Arrow without Python objects, for rows that look like those before.

row_shape       the keys and kinds of the rows so far
json_reader     a block of text -> columns of that shape, or an error
scheduler       when to try it, and reading ahead in threads
"""
