"""What is measured, a module for each kind of process that it takes. Each returns rows of the table."""
