"""`python -m runtime …` is `aether …`, so that a Ray job can run it from its upload without a build."""

from runtime.cli import main

if __name__ == "__main__":
    main()
