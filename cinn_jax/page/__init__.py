"""`python -m cinn_jax.page`: photographs and answers on a page in the browser.

`cinn_jax.sampling` makes every picture of the page, so a download is the file
that `--mode=sample` writes.
"""
