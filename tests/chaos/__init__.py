"""What goes wrong at the worst moment: lines that drop, processes that are killed, pictures of 33 MB."""
