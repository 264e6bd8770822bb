"""Finding, describing and scaffolding methods and tasks."""
