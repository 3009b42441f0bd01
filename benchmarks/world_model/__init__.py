"""What the world model is worth, in figures (`make bench-world-model`).

__main__    the parts, and what a profile measures of them
mazes       the worlds, whole and changed
gather      experience from real sessions on a log
trained     the models of a maze and seed, kept on disk
bodies      many episodes side by side
episodes    a planner, or chance, acting in them
simulator   MuJoCo itself as a planner's model
success     the ablation on held-out starts and goals
prediction  ten decisions ahead on held-out sessions
planning    what a decision costs
coverage    curiosity beside chance
robustness  changed worlds, before and after a round of learning
nonlinear   a world that no linear model can plan in, beside the linear model
fourrooms   MiniGrid's four rooms, seen whole and in part, beside chance
views       these two views as worlds
wandering   experience of a world without a log
statistics  intervals
kept        raw results, so that a run goes on where it was cut off
table       the ablation in Markdown"""
