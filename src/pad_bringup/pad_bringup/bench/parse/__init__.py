"""`./pad bench parse`: is a parsed recording to be trusted?"""
