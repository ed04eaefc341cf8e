"""`--mode=calibrate`: how often a conditional flow of pictures is right."""
