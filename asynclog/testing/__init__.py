"""What tests of code beside asynclog stand on. Not loaded by `import asynclog`."""
