"""How a store's schema came to be."""
