"""The study page: the seed paper's study repeated from the records of a results folder, figures included."""
