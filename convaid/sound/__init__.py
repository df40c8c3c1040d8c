"""One conversation's ear and mouth."""
