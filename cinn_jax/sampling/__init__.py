"""`--mode=sample`: draws, ranks and writes samples."""
