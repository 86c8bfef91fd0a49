"""REST, live values and web pages: what people and programs see of the house, and how they tell it what they want."""
