"""Reading a user's data, splitting it, and bringing it onto one scale."""
