"""What happens after the decision: what is kept, in which database, and who may ask for it."""
