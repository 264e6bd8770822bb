"""`mtlbench map`: a family of problems with knobs, trained by the thousand, to see when which method helps."""
