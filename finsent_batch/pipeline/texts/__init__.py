"""The texts of the inputs: their rows as planning reads them, their digest, their traits."""
