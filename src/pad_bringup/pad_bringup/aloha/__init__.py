"""gym-aloha's TransferCube as a world for PAD: its own scene, reward and placements, in PAD's frames and units."""
