"""Pictures and films of spatial transformers.

They share one style: colours that the colour-blind can tell apart, text that is readable at a
README's size, no time stamps in files. Everything here takes tensors and returns a matplotlib
figure or frames; ``save_figure`` and ``save_film`` write them.
"""

from spatial_transformer.extras import check_installed

check_installed("viz", "matplotlib", "PIL")

from spatial_transformer.viz.curves import draw_curves as draw_curves
from spatial_transformer.viz.film import save_film as save_film
from spatial_transformer.viz.lines import box_edges as box_edges
from spatial_transformer.viz.lines import grid_lines as grid_lines
from spatial_transformer.viz.lines import slice_lines as slice_lines
from spatial_transformer.viz.motion import film_frames as film_frames
from spatial_transformer.viz.sheet import draw_sheet as draw_sheet
from spatial_transformer.viz.stages import Stage as Stage
from spatial_transformer.viz.stages import draw_stages as draw_stages
from spatial_transformer.viz.stages import find_stages as find_stages
from spatial_transformer.viz.style import render as render
from spatial_transformer.viz.style import save_figure as save_figure
from spatial_transformer.viz.survey import Mistake as Mistake
from spatial_transformer.viz.survey import Survey as Survey
from spatial_transformer.viz.survey import draw_means as draw_means
from spatial_transformer.viz.survey import draw_mistakes as draw_mistakes
from spatial_transformer.viz.survey import survey as survey
from spatial_transformer.viz.theta import draw_theta as draw_theta
from spatial_transformer.viz.theta import draw_theta_paths as draw_theta_paths
