"""From answers to what a page shows: pure, without a server, a store or a clock."""
