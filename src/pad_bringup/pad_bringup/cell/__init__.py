"""The simulated cell: two arms at a table in MuJoCo, objects, a camera, and a judge of the outcome."""
