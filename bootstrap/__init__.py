"""The bootstrap behind ./pad: makes the environment below .pad/ and runs commands in it.

Runs on a bare Python >= 3.11 and imports the standard library only. Nothing in src/ imports it. Every finished step is
stamped with a hash of its inputs (stamps), one start at a time works on the environment (lock), and what a killed start
left half-done is found and repaired (packages) or built anew (workspace).
"""
