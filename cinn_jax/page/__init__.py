"""`python -m cinn_jax.page`: photographs and answers on a page in the browser.

The page calls `cinn_jax.sampling` and has no way of its own to make a picture:
a download is the file that `--mode=sample` writes.
"""
