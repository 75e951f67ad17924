"""The compiler as a part of other tools. Each module needs the tool that it is named after."""
