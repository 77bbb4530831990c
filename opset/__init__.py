"""The operations: declared once, with meaning, types, accuracy and cost."""
