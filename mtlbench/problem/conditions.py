"""Checks before the first cell starts: do the recipe's options and the methods suit a problem?"""

from __future__ import annotations

from mtlbench.contract.method import Method
from mtlbench.contract.problem import Problem
from mtlbench.errors import UsageError
from mtlbench.problem.structure import Structure
from mtlbench.recipe.suite import Recipe


def refuse_options(problem: Problem, recipe: Recipe) -> None:
    """Refuse options of a recipe that have no meaning for a problem.

    :param problem: the problem.
    :param recipe: the recipe.
    :raises UsageError: naming the option.
    """
    where = f"problem {problem.name}"
    if recipe.max_length != Recipe.model_fields["max_length"].default:
        raise UsageError(f"max_length={recipe.max_length} is for tasks on texts; {where} has inputs of its own")
    if recipe.engine in ("packed", "lean", "loop"):
        raise UsageError(f"engine={recipe.engine} is for tasks on texts; {where} has one engine: use engine=auto")
    if recipe.checkpointing:
        raise UsageError(f"checkpointing is for tasks on texts; {where} may use torch.utils.checkpoint in its model")
    if recipe.sampling != "uniform" and not problem.separate:
        raise UsageError(f"sampling={recipe.sampling} needs a batch for each task, but {where} has one for all tasks")


def refuse_method(problem: Problem, structure: Structure, recipe: Recipe, method: Method) -> None:
    """Refuse a method that needs what a problem does not declare, or what parts of a batch do not have.

    :param problem: the problem.
    :param structure: the model's parts.
    :param recipe: the recipe.
    :param method: the method.
    :raises UsageError: naming method and problem.
    """
    where, reads = f"problem {problem.name}", method.gram_of if method.reads == "gram" else None
    if reads == "last_shared_layer" and not structure.last:
        raise UsageError(
            f"method {method.name} reads gradients of the last shared layer, which {where} does not name: write "
            "last_shared_layer()"
        )
    if reads == "representation" and not structure.representation:
        raise UsageError(
            f"method {method.name} reads gradients of the representation, which {where} does not name: write "
            "representation()"
        )
    if reads == "representation" and problem.separate:
        raise UsageError(
            f"method {method.name} reads gradients of a representation that all losses are computed from, but {where} "
            "has a batch for each task"
        )
    if recipe.accumulate > 1 and (reads in ("last_shared_layer", "representation") or method.batches > 1):
        raise UsageError(
            f"accumulate={recipe.accumulate} averages whole task gradients over the parts of a batch, but method "
            f"{method.name} reads something else: use accumulate=1"
        )
