"""Turns the prompts of newly minted NFTs into images, from rows in PostgreSQL."""
