"""Which actions and checks there are, what each is given, and the rules that they keep."""
