from asynclog.pywriter import Writer as Writer
