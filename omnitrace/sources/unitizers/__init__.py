"""What cuts text, images, audio and video into source units."""
