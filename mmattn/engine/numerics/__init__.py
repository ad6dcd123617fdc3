"""A step that is not finite never reaches the weights: found, explained, kept for a repetition.

``guard`` checks loss and gradients in front of every optimiser step; ``window`` puts back what the
forward passes of a dropped step have changed; ``repeat`` repeats the step and finds where numbers
stop being finite; ``bad_step`` writes the step to a file, which ``replay`` repeats anywhere.
"""
