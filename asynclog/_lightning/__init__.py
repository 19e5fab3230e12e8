"""What asynclog/lightning.py is made of; nothing here is public."""
