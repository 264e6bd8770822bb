"""Watch your own training without changing it: task gradients every N steps, for the doctor and the report's figures"""
