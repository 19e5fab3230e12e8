from asynclog.pywriter import Writer as Writer

VERSION: int
