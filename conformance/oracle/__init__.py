"""What a call must give: references in higher precision, and the comparison of a result with them."""
