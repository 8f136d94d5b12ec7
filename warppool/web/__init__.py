"""What a browser and other programs read of the pool by HTTP: pages, `/api`, `/health`, `/metrics`.

All answers are made of the newest snapshot of the numbers, and of a few bounded questions to the books.
"""
