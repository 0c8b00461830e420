"""placeholder, replaced by the branch cuda"""
