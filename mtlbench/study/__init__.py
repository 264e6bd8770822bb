"""The results page: what the records of a folder say of the seed paper's study, its figures redone from them."""
