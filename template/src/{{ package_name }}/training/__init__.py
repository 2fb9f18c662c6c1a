"""Training: fit, judge, keep or replace the champion, and say why."""
